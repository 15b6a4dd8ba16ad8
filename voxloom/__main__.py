"""`python -m voxloom` is the `voxloom` program."""

from voxloom.cli.main import main

main()
