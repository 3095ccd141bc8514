//! Pure registry types: manifests, grants, limits and price lists.
