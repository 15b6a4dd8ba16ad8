"""The `voxloom` program: one file per topic, started by `voxloom.cli.main`."""
