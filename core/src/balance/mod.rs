//! Which endpoint gets the next request: policies, in-flight counts and passive ejection.

/// stub
#[derive(Debug)]
pub struct InFlight;
