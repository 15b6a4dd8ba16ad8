"""docs/rest.md, made from the routes and their models: `python -m services.gateway.reference [--check]`."""
