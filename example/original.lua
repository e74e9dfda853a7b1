-- The config of the original rsp: three strings, one backend.
listenPort = "8000"
backendAddress = "127.0.0.1"
backendPort = "80"
