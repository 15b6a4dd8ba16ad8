"""The synchronous client, generated: edit `_async` and run `python -m voxloom.client._generate`."""
