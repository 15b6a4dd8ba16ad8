"""`make demo`: the main job from one end to the other, on a server of its own."""
