echo "$1, by hand"
