"""Programs that drive a whole system: the demo, and what is measured."""
