"""What the S3 object store is made of. Only shared/objects/s3.py puts the pieces together."""
