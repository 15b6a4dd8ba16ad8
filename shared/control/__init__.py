"""Who may do what: principals, projects, members and tokens, as they are kept in the store."""
