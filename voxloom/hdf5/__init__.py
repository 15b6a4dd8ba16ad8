"""HDF5 files that nobody vouches for, read by everyone who reads any: server, runner, client.

The HDF5 library believes what a file declares. Where a chunk unpacks to fewer bytes than it should, the library hands
out what lay in memory before; where to more, it takes the memory. Here every chunk is unpacked to exactly the declared
size, or refused (`Refused`), before a byte of it is used.
"""
