//! A server with scripted timing and scripted faults, for what a real one can't be made to show.
