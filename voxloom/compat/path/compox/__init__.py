"""The names that algorithms written for Compox import; all of them are Voxloom's own under another name."""
