//! Where models and engine binaries come from: paths, pinned packages, derived quants.
