local f = io.open("port")
