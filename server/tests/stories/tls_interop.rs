//! Browsers, libraries and tools as clients, nginx and HAProxy on either side.
