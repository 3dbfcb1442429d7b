//! A client for OCI registries: pushes what is missing, and resumes.
