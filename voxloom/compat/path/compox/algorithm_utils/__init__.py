"""Base classes and schemas."""
