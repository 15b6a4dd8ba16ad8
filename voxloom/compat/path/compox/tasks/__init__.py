"""What a run is to its author."""
