module flannel

go 1.24.0
