"""What every adapter of the object store does on the disk of its own machine, the embedded one and that of S3: threads
for what blocks, the files that hold an object's bytes, links to where they are wanted, errors of the disk."""
