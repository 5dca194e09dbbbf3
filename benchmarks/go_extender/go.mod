module aicsched.invalid/go_extender

go 1.22
