//! Stories of `exec`: a program for each client.
