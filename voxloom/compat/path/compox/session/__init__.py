"""Items that runs share."""
