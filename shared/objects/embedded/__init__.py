"""What the embedded object store is made of. Only shared/objects/local.py puts the pieces together."""
