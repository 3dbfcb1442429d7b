pub fn told() -> String {
    split::features()
}
