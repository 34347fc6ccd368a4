//! Requests to an inference server, and what they cost on the client's clock.
