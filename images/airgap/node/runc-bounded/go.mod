module techshop/runc-bounded

go 1.26.0
