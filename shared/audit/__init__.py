"""Who did what, kept in `audit-store`: what an entry is, how entries are written, read and kept few in number."""
