if not env("RSP_TEST_THIS_IS_NOT_SET", nil == 1) then
  error "set RSP_TEST_THIS_IS_NOT_SET to the backend's port"
end
