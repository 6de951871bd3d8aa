from tasks import namespace  # noqa: F401  # plain `fab` looks for this file name, and no setting changes it
