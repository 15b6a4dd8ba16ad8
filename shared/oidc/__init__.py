"""Who people are, as another server says: access tokens of an OpenID provider, their keys, and what they prove."""
