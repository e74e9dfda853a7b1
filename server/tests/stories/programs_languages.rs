//! Stories of programs that nobody here wrote, in the languages of the machine.
