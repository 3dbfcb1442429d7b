use proc_macro::TokenStream;

#[proc_macro]
pub fn mark(_: TokenStream) -> TokenStream {
    "\"marked\"".parse().unwrap()
}
