//! Certificates: which one is shown, reloads, and files that are broken.
