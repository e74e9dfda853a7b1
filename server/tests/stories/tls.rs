//! TLS that ends here: versions, names, tickets, and requests that came by it.
