"""The platform's nouns: each component adds a promise to the resources it holds."""
