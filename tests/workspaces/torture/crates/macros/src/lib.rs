use proc_macro::TokenStream;

#[proc_macro_attribute]
pub fn answering(_: TokenStream, item: TokenStream) -> TokenStream {
    let answer = split::features().len();
    item.to_string().replace('0', &answer.to_string()).parse().unwrap()
}
