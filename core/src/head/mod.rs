//! What changes in a head that is forwarded, and what frames its body.
