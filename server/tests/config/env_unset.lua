listen(env "RSP_TEST_THIS_IS_NOT_SET")
admin { "127.0.0.1:9600", token = env("RSP_TEST_NOR_IS_THIS") }
site "*" (proxy(env("RSP_TEST_NOR_THIS", "127.0.0.1:3000")))
