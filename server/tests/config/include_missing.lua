listen "127.0.0.1:8080"
include "no_such_folder/*.lua"
include "no_such_file.lua"
