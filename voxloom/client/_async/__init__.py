"""The asynchronous client. `_sync` is generated from this folder: `python -m voxloom.client._generate`."""
