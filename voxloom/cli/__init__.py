"""The `voxloom` program: one file per topic, put together in `voxloom.cli.program`."""
