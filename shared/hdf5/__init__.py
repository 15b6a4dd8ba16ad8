"""HDF5 files that nobody trusts: what may be in them, and processes with limits that open them."""
