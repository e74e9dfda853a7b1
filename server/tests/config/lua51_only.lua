listen("127.0.0.1:" .. os.getenv("PORT"))
