#!/usr/bin/env escript
%%! +pc unicode
%% etf_oracle: a real Erlang judges the external term format of murre: etf_oracle.escript PEER COUNT SEED. PEER is build/etf-peer, which says what
%% may be asked of it. Prints the first wrong answers of each kind, and "N passed, N failed" by kinds.
-mode(compile).

-define(BATCH, 200).
-define(SHOWN, 5).

main([Peer, Count, Seed]) ->
    ok = io:setopts([{encoding, utf8}]),
    N = list_to_integer(Count),
    rand:seed(exsss, list_to_integer(Seed)),
    Port = open_port({spawn_executable, Peer}, [{packet, 4}, binary, exit_status]),
    Kinds = [{"terms are copied and kept as trees", fun copied/1, N},
             {"refused and taken as binary_to_term does", fun judged/1, since_24(N)},
             {"order of terms", fun ordered/1, N},
             {"printed as the shell prints", fun printed/1, since_24(N div 2)},
             {"what is printed is read back", fun parsed/1, N div 2},
             {"libei reads and writes the same", fun through_ei/1, N div 2}],
    Failed = length([bad || {Name, Fun, M} <- Kinds, not run(Port, Name, Fun, M)]),
    io:format("~w passed, ~w failed~n", [length(Kinds) - Failed, Failed]),
    halt(case Failed of 0 -> 0; _ -> 1 end).

%% Each case is {Request, Check}: Check(Answer) is ok or what is wrong.
run(Port, Name, Fun, N) ->
    Start = erlang:monotonic_time(millisecond),
    Wrong = batches(Port, Fun, N, 0),
    io:format("~ts: ~w cases, ~w wrong, ~w ms~n", [Name, N, Wrong, erlang:monotonic_time(millisecond) - Start]),
    Wrong =:= 0.

batches(_, _, N, Wrong) when N =< 0 -> Wrong;
batches(Port, Fun, N, Wrong) ->
    Cases = [Fun(I) || I <- lists:seq(1, min(N, ?BATCH))],
    [true = port_command(Port, Request) || {Request, _} <- Cases],
    Bad = lists:foldl(fun({Request, Check}, Acc) -> Acc + one(Port, Request, Check, Wrong + Acc) end, 0, Cases),
    batches(Port, Fun, N - ?BATCH, Wrong + Bad).

one(Port, Request, Check, Wrong) ->
    receive
        {Port, {data, Answer}} ->
            case catch Check(Answer) of
                ok -> 0;
                Why ->
                    Wrong < ?SHOWN andalso io:format("  ~0tP~n    asked ~P~n    answer ~P~n", [Why, 200, Request, 400, Answer, 400]),
                    1
            end;
        {Port, {exit_status, Status}} ->
            io:format("the peer ended with status ~w at ~w~n", [Status, Request]),
            io:format("0 passed, 1 failed~n"),
            halt(1)
    end.

%% --- kinds of cases

%% Minor version 2 is what OTP 26 and later, and all nodes between themselves, write: atoms in UTF-8.
bytes(Term) -> <<131, Bin/binary>> = term_to_binary(Term, [{minor_version, 2}]), Bin.
back(Bin) -> binary_to_term(<<131, Bin/binary>>).

copied(_) ->
    Term = term(pick([2, 3, 4, 4, 6])),
    Bin = bytes(Term),
    {[$c, Bin],
     fun(<<L1:32, Copy:L1/binary, L2:32, Tree:L2/binary>>) ->
             %% OTP 26 and later write any port as 120; here one with a small number is 89, which all read.
             Same = Copy =:= Bin orelse (?OTP_RELEASE > 25 andalso back(Copy) =:= Term),
             if not Same -> {not_the_same_bytes, Term};
                true -> Read = back(Tree), if Read =:= Term -> ok; true -> {another_term, difference(Term, Read)} end
             end;
        (<<>>) -> {refused, Term}
     end}.

%% Terms with a byte or two changed, and old tags, which nobody writes any more.
judged(_) ->
    Bin = case rand:uniform(4) of
              1 -> old();
              2 -> changed(old());
              _ -> changed(bytes(term(3)))
          end,
    Takes = takes(Bin),
    {[$s, Bin], fun(<<A>>) -> case (A =:= 1) =:= Takes orelse excused(Bin, A) of true -> ok; false -> {erlang_takes_it, Takes} end end}.

%% OTP 23 ends with a segmentation fault, or for want of memory, at bytes that were changed, and prints floats past 2^53 otherwise.
-if(?OTP_RELEASE < 24).
since_24(_) -> 0.
-else.
since_24(N) -> N.
-endif.

takes(<<80, _/binary>>) -> false;
takes(Bin) ->
    try binary_to_term(<<131, Bin/binary>>, [used]) of
        {_, Used} -> Used =:= byte_size(Bin) + 1
    catch _:_ -> false
    end.

%% Where the format says no and Erlang does not look, murre refuses: never the other way round.
%% But numbers that are too large in an identity of this node: Erlang knows its own.
excused(Bin, 0) -> takes(Bin) andalso bytes(back(Bin)) =/= Bin;
excused(Bin, 1) -> binary:match(Bin, atom_to_binary(node())) =/= nomatch.

ordered(_) ->
    A = case rand:uniform(5) of 1 -> number(); _ -> term(4) end,
    B = case rand:uniform(5) of
            1 -> A;
            2 -> near(A);
            3 when is_number(A) -> number();
            _ -> case rand:uniform(3) of 1 -> same_kind(A); _ -> near(near(A)) end
        end,
    Order = if A < B -> 0; A == B -> 1; true -> 2 end,
    Same = if A =:= B -> 1; true -> 0 end,
    {[$o, bytes(A), bytes(B)],
     fun(<<O, S>>) when O =:= Order, S =:= Same -> ok;
        (Other) -> {{is, Order, Same}, {not_as, Other}, A, B}
     end}.

printed(_) ->
    Term = shown(5),
    Text = unicode:characters_to_binary(io_lib:format(format_(), [Term])),
    {[$f, bytes(Term)],
     fun(Ours) when Ours =:= Text -> ok;
        (Ours) -> turns(Text) orelse throw({prints_from, from_difference(Text, Ours)}), ok
     end}.

%% Maps come in any order since OTP 26, but with k.
-if(?OTP_RELEASE > 25).
format_() -> "~0ktp".
-else.
format_() -> "~0tp".
-endif.

%% What turns the direction of text murre escapes, and the shell does not.
turns(Text) -> re:run(Text, "[\\x{61c}\\x{200e}\\x{200f}\\x{2028}-\\x{202e}\\x{2066}-\\x{2069}]", [unicode]) =/= nomatch.

from_difference(A, B) ->
    N = max(0, binary:longest_common_prefix([A, B]) - 20),
    {binary:part(A, N, min(60, byte_size(A) - N)), binary:part(B, N, min(60, byte_size(B) - N))}.

parsed(_) ->
    Term = shown(5),
    Text = unicode:characters_to_binary(
             case rand:uniform(4) of
                 1 -> io_lib:format("~0tp", [Term]);
                 2 -> io_lib:format("~tp", [Term]);
                 3 -> io_lib:format("~w", [Term]);
                 4 -> io_lib:format("~tw", [Term])
             end),
    {[$p, Text],
     fun(<<>>) -> {refused, Text};
        (Bin) -> Read = back(Bin), if Read =:= Term -> ok; true -> {reads, Text, Read} end
     end}.

through_ei(_) ->
    Term = for_ei(term(4)),
    {[$e, bytes(Term)],
     fun(<<L1:32, Ei:L1/binary, L2:32, Ours:L2/binary>>) ->
             A = back(Ei), B = back(Ours),
             if A =:= Term, B =:= Term -> ok; true -> {another_term, difference(Term, A), difference(Term, B)} end
     end}.

%% libei has no funs and no integers past 64 bits.
for_ei(T) when is_function(T) -> a_fun;
for_ei(T) when is_integer(T), T >= 1 bsl 63; is_integer(T), T < -(1 bsl 63) -> a_big;
for_ei(T) when is_tuple(T) -> list_to_tuple([for_ei(E) || E <- tuple_to_list(T)]);
for_ei(T) when is_map(T) -> maps:from_list([{for_ei(K), for_ei(V)} || {K, V} <- maps:to_list(T)]);
for_ei([H | T]) -> [for_ei(H) | for_ei(T)];
for_ei(T) -> T.

%% Where two terms that should be the same are not.
difference(A, A) -> none;
difference(A, B) when is_tuple(A), tuple_size(A) =:= tuple_size(B) -> difference(tuple_to_list(A), tuple_to_list(B));
difference([A | X], [B | Y]) -> case A =:= B of true -> difference(X, Y); false -> difference(A, B) end;
difference(A, B) when is_map(A), is_map(B) -> difference(lists:sort(maps:to_list(A)), lists:sort(maps:to_list(B)));
difference(A, B) -> {A, B}.

%% --- random terms

pick(List) -> lists:nth(rand:uniform(length(List)), List).
some(Max, Fun) -> [Fun() || _ <- lists:seq(1, rand:uniform(Max + 1) - 1)].

term(Depth) when Depth =< 0 -> leaf();
term(Depth) ->
    D = Depth - 1,
    case rand:uniform(14) of
        1 -> list_to_tuple(some(6, fun() -> term(D) end));
        2 -> some(6, fun() -> term(D) end);
        3 -> some(3, fun() -> term(D) end) ++ leaf();
        4 -> maps:from_list(some(5, fun() -> {term(D - 1), term(D)} end));
        5 -> closure(term(D), term(D));
        6 -> {term(D), term(D)};
        7 -> [term(D) | term(D)];
        8 -> case rand:uniform(40) of
                 1 -> maps:from_list([{key(), leaf()} || _ <- lists:seq(1, 30 + rand:uniform(60))]);
                 2 -> list_to_tuple([leaf() || _ <- lists:seq(1, 250 + rand:uniform(20))]);
                 3 -> nested(rand:uniform(300));
                 4 -> [rand:uniform(256) - 1 || _ <- lists:seq(1, 65530 + rand:uniform(10))];
                 _ -> leaf()
             end;
        _ -> leaf()
    end.

nested(0) -> leaf();
nested(N) -> case rand:uniform(3) of 1 -> {nested(N - 1)}; 2 -> [nested(N - 1), N]; 3 -> #{nested(N - 1) => N} end.

leaf() ->
    case rand:uniform(13) of
        1 -> number();
        2 -> integer();
        3 -> float_();
        4 -> atom();
        5 -> pid();
        6 -> port();
        7 -> ref();
        8 -> bytes_of(rand:uniform(40) - 1);
        9 -> bits();
        10 -> binary_to_list(bytes_of(rand:uniform(20) - 1));
        11 -> text();
        12 -> pick([[], {}, #{}, <<>>, '', true, false, undefined, ok]);
        13 -> pick([fun lists:append/1, fun lists:append/2, fun erlang:'+'/2, fun 'no such':'\x{e4}r'/255, fun '\x{3bb}':x/0])
    end.

%% A key of a map that may be large. No identities: OTP 25 takes two maps of more than 32 keys for different, or ends with a segmentation fault,
%% if keys are references of 5 words or ports of 64 bits from another node, whose hash it takes from a part of them.
key() ->
    case rand:uniform(7) of
        1 -> number();
        2 -> integer();
        3 -> float_();
        4 -> atom();
        5 -> bytes_of(rand:uniform(10) - 1);
        6 -> text();
        7 -> {integer(), atom()}
    end.

%% What prints the same everywhere: no identities, no local funs; and maps that Erlang keeps in order.
shown(Depth) when Depth =< 0 -> shown_leaf();
shown(Depth) ->
    D = Depth - 1,
    case rand:uniform(8) of
        1 -> list_to_tuple(some(5, fun() -> shown(D) end));
        2 -> some(5, fun() -> shown(D) end);
        3 -> some(3, fun() -> shown(D) end) ++ shown_leaf();
        4 -> maps:from_list(some(5, fun() -> {shown(D - 1), shown(D)} end));
        5 -> [shown(D) | shown(D)];
        _ -> shown_leaf()
    end.

shown_leaf() ->
    case rand:uniform(10) of
        1 -> integer();
        2 -> float_();
        3 -> atom();
        4 -> unicode:characters_to_binary(text());
        5 -> list_to_binary([C || C <- text(), C < 256]);
        6 -> bytes_of(rand:uniform(6) - 1);
        7 -> bits();
        8 -> text();
        9 -> pick([[], {}, #{}, <<>>, '', "x", [0], 'fun', 'end', 'A', '_', 'a b', "\"", '\'', '\\', <<"\"\\">>, [127], [128], -1, -0.5]);
        10 -> pick([1.0e22, 9007199254740992.0, 9007199254740991.0, 1.0e5, 123456789.0, 1.0e-5, 0.001, 5.0e-324, 1.7976931348623157e308, 100.0, 0.1])
    end.

%% -(1 bsl 59) of OTP 25 may differ from itself: as a product, or when read from the external format.
integer() -> its_own(any_integer()).

its_own(I) -> case integer_to_list(I) of "-576460752303423488" -> 1; _ -> I end.

any_integer() ->
    case rand:uniform(6) of
        1 -> rand:uniform(256) - 1;
        2 -> rand:uniform(16#ffffffff) - 16#7fffffff;
        3 -> sign() * ((1 bsl rand:uniform(70)) + rand:uniform(5) - 3);
        4 -> sign() * binary:decode_unsigned(bytes_of(rand:uniform(12)));
        5 -> case rand:uniform(30) of 1 -> sign() * binary:decode_unsigned(bytes_of(200 + rand:uniform(200))); _ -> rand:uniform(10) - 5 end;
        6 -> sign() * (1 bsl (rand:uniform(40) * 8)) + rand:uniform(3) - 2
    end.

sign() -> pick([1, -1]).

float_() ->
    case rand:uniform(5) of
        1 -> not_zero(rand:uniform(2000) / 8 - 125);
        2 -> finite(bytes_of(8));
        3 -> list_to_float(float_to_list(rand:uniform() * math:pow(10, rand:uniform(40) - 20) + 1.0e-30, [{scientific, rand:uniform(16)}]));
        4 -> not_zero(float(integer_in_float()));
        5 -> sign() * math:pow(2, rand:uniform(200) - 100)
    end.

integer_in_float() -> case integer() of I when I > 1 bsl 1000; I < -(1 bsl 1000) -> 7; I -> I end.

%% -0.0 and 0.0 are the same to =:= up to OTP 26 and not to murre, nor to OTP 27.
not_zero(F) when F == 0 -> 0.0;
not_zero(F) -> F.

finite(<<F/float>>) -> not_zero(F);
finite(_) -> 1.5.

number() ->
    case any_number(integer_in_float()) of F when is_float(F) -> F; I -> its_own(I) end.

any_number(I) ->
    case rand:uniform(6) of
        1 -> I;
        2 -> not_zero(float(I));
        3 -> not_zero(float(I) + 0.5);
        4 -> trunc(float(I));
        5 -> trunc(float(I)) + rand:uniform(3) - 2;
        6 -> float_()
    end.

atom() ->
    case rand:uniform(5) of
        1 -> pick([ok, error, 'hello world', 'Upper', 'a@b', '\x{e5}\x{e4}\x{f6}', '\x{d6}', '\x{3bb}', '\x{65e5}\x{672c}', '\n', '\x{7f}', 'it\'s', '\'', '\\', a1_B, '1', 'fun', 'case', '"', '']);
        2 -> list_to_atom([$a + rand:uniform(26) - 1 || _ <- lists:seq(1, rand:uniform(3))]);
        3 -> pick([list_to_atom(lists:duplicate(255, $x)), list_to_atom(lists:duplicate(255, 16#1f600)), list_to_atom(lists:duplicate(254, 16#e5))]);
        _ -> pick([a, b, c, d, e, f, g, value, key, name, node, 'x-y'])
    end.

text() -> some(8, fun() -> pick([$a, $b, $z, $\s, $", $', $\\, $\n, $\t, $\e, 16#e5, 16#a0, 16#3bb, 16#65e5, 16#1f600, $0, $~]) end).

%% rand:bytes/1, which OTP 23 has not.
bytes_of(N) -> << <<(rand:uniform(256) - 1)>> || _ <- lists:seq(1, N) >>.

bits() -> N = rand:uniform(30), <<_:N/bits, Rest/bits>> = bytes_of(8), <<Rest:N/bits>>.

node_() -> pick([a@b, 'murre@127.0.0.1', 'zz@longer.host.example', '\x{e5}@b']).
word() -> pick([0, 1, 2, 3, 16#7fff, 16#8000, rand:uniform(16#ffffffff), 16#ffffffff]).
creation() -> pick([1, 2, rand:uniform(16#ffffffff)]).
%% Before OTP 24 only numbers of so many bits are taken.
-if(?OTP_RELEASE < 24).
word(Bits) -> word() band ((1 bsl Bits) - 1).
words() -> 3.
-else.
word(_) -> word().
words() -> 5.
-endif.

pid() ->
    case rand:uniform(6) of
        1 -> self();
        _ -> back(<<88, (bytes(node_()))/binary, (word(15)):32, (word(13)):32, (creation()):32>>)
    end.
port() ->
    case rand:uniform(3) of
        N when N =:= 1; ?OTP_RELEASE < 24 -> back(<<89, (bytes(node_()))/binary, (word(28)):32, (creation()):32>>);
        _ -> back(<<120, (bytes(node_()))/binary, (word()):32, (word()):32, (creation()):32>>)
    end.
ref() ->
    case rand:uniform(6) of
        1 -> make_ref();
        _ -> N = rand:uniform(words()),
             back(<<90, N:16, (bytes(node_()))/binary, (creation()):32, (word(18)):32, <<<<(word()):32>> || _ <- lists:seq(2, N)>>/binary>>)
    end.

closure(A, B) ->
    case rand:uniform(5) of
        1 -> fun() -> A end;
        2 -> fun(X) -> {X, A, B} end;
        3 -> fun(_, _) -> B end;
        _ -> %% of a module that is not here
            Index = rand:uniform(3),
            Free = <<(bytes(A))/binary, (bytes(B))/binary>>,
            Inner = <<1, (binary:copy(<<Index>>, 16))/binary, Index:32, 2:32, (bytes(pick([gone, away])))/binary, 97, Index,
                      98, (rand:uniform(5) * 1000000):32, (bytes(self()))/binary, Free/binary>>,
            back(<<112, (byte_size(Inner) + 4):32, Inner/binary>>)
    end.

%% A term that differs a little.
near(T) when is_integer(T) -> pick([its_own(T + 1), its_own(T - 1), its_own(-T), float_of(T), T]);
near(T) when is_float(T) -> pick([not_zero(-T), its_own(trunc(T)), not_zero(T * 1.0000001), T]);
near(T) when is_tuple(T), tuple_size(T) > 0 -> I = rand:uniform(tuple_size(T)), setelement(I, T, near(element(I, T)));
near([H | T]) -> case rand:uniform(3) of 1 -> [near(H) | T]; 2 -> [H | near(T)]; 3 -> T end;
near(T) when is_map(T), map_size(T) > 0 ->
    K = pick(maps:keys(T)), V = maps:get(K, T),
    case rand:uniform(3) of 1 -> T#{K := near(V)}; 2 -> maps:put(near(K), V, maps:remove(K, T)); 3 -> maps:remove(K, T) end;
near(T) when is_bitstring(T), bit_size(T) > 0 -> N = bit_size(T) - rand:uniform(min(bit_size(T), 9)), <<P:N/bits, _/bits>> = T, P;
near(T) when is_pid(T) -> case rand:uniform(2) of 1 -> pid(); 2 -> changed_words(T) end;
near(T) when is_reference(T) -> case rand:uniform(2) of 1 -> ref(); 2 -> changed_words(T) end;
near(T) when is_port(T) -> case rand:uniform(2) of 1 -> port(); 2 -> changed_words(T) end;
near(T) when is_function(T) -> closure(leaf(), leaf());
near(T) when is_atom(T) -> atom();
near(_) -> leaf().

float_of(I) -> try not_zero(float(I)) catch _:_ -> 1.0 end.

%% Another number in an identity.
changed_words(T) ->
    Bin = bytes(T), N = byte_size(Bin) - rand:uniform(4), <<A:N/binary, B, C/binary>> = Bin,
    try back(<<A/binary, (B bxor 1), C/binary>>) catch _:_ -> T end.

same_kind(T) ->
    Other = term(3),
    if is_tuple(T), is_tuple(Other) -> Other;
       is_list(T), is_list(Other) -> Other;
       is_map(T) -> maps:from_list([{key(), leaf()} || _ <- maps:keys(T)]);
       is_function(T) -> closure(leaf(), leaf());
       is_pid(T) -> pid();
       is_reference(T) -> ref();
       is_port(T) -> port();
       is_atom(T) -> atom();
       is_bitstring(T) -> bits();
       true -> Other
    end.

%% --- bytes that may be no term

changed(<<>>) -> <<>>;
changed(Bin) ->
    At = rand:uniform(byte_size(Bin)) - 1,
    <<A:At/binary, B, C/binary>> = Bin,
    case rand:uniform(5) of
        1 -> <<A/binary, C/binary>>;
        2 -> <<A/binary, (rand:uniform(256) - 1), C/binary>>;
        3 -> <<A/binary, (B bxor (1 bsl (rand:uniform(8) - 1))), C/binary>>;
        4 -> <<A/binary, (pick(lists:seq(97, 121) ++ [67, 70, 77, 82, 88, 89, 90])), C/binary>>;
        5 -> <<A/binary, (pick([0, 1, 2, 8, 9, 255])), B, C/binary>>
    end.

old() ->
    Node = bytes(node_()),
    case rand:uniform(10) of
        1 -> <<103, Node/binary, (word()):32, (word()):32, (rand:uniform(6) - 1)>>;
        2 -> <<102, Node/binary, (word()):32, (rand:uniform(6) - 1)>>;
        3 -> <<101, Node/binary, (word()):32, (rand:uniform(6) - 1)>>;
        4 -> N = rand:uniform(6) - 1, <<114, N:16, Node/binary, (rand:uniform(5) - 1), <<<<(word()):32>> || _ <- lists:seq(1, N)>>/binary>>;
        5 -> <<100, 3:16, "abc">>;
        6 -> <<115, 3, 97, (rand:uniform(128) - 1), 99>>;
        7 -> T = iolist_to_binary(io_lib:format("~.20e", [float_()])), <<99, T/binary, 0:((31 - byte_size(T)) * 8)>>;
        8 -> <<111, 9:32, (rand:uniform(2) - 1), (bytes_of(9))/binary>>;
        9 -> <<108, 0:32, (bytes(leaf()))/binary>>;
        10 -> <<77, 2:32, (rand:uniform(10) - 1), 255, 255>>
    end.
