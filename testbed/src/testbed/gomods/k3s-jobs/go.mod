module k3s-jobs

go 1.24.0
