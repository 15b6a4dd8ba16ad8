"""A SQLite database whose damage is noticed before it is used.

SQLite ends its log silently at the first frame that does not verify, and its pages have no checksums at all. So beside
a database lies its seal, `<name>.seal`: a checksum of every page, and a mark of the last commit. `inspection.py`
compares the two before SQLite opens anything, `seal.py` keeps the seal while the database is in use.
"""
