//! Stories of picking, ejecting and counting, on virtual time.
