//! Stories of how programs end, with whatever ends them.
