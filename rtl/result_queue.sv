// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
//
// The output side of a unit whose pipeline never stops: a word of the output gets its slot (and address) here before
// its operands are read, its bytes when they are computed, and leaves in the order of the slots when the
// scratchpad grants the write. A unit asks for no operands while full_o is high; so a refused write holds up nothing but, in
// the end, the reads. Results may come from several pipelines of different lengths, in any order.
// The last word of a command retires it.
module result_queue #(
  parameter int unsigned WORD = 128,
  parameter int unsigned SLOTS = 16,                      // a power of two; the longest pipeline or the unit runs slower
  parameter int unsigned SOURCES = 1,
  localparam int unsigned Index = $clog2(SLOTS)
) (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic              enable_i,                     // low: frozen, no writes

  input  logic              allocate_i,
  input  logic [31:0]       allocate_address_i,
  input  logic              allocate_last_i,              // of its command
  output logic [Index-1:0]  slot_o,                       // that allocate_i takes
  output logic              full_o,

  input  logic              done_i      [SOURCES],
  input  logic [Index-1:0]  done_slot_i [SOURCES],
  input  logic [WORD-1:0]   done_data_i [SOURCES],

  output logic              write_valid_o,
  output logic [31:0]       write_address_o,
  output logic [WORD-1:0]   write_data_o,
  input  logic              write_grant_i,
  output logic              retire_o,                     // a pulse, the cycle after the grant
  output logic              empty_o
);

  logic [Index:0] head_q, tail_q;                         // one bit more than an index: full and empty differ
  logic [SLOTS-1:0] done_q, last_q, done_d;
  logic [31:0] address_q [SLOTS];
  logic [WORD-1:0] data_q [SLOTS];
  logic popped;
  logic [Index-1:0] tail;

  assign tail = tail_q[Index-1:0];
  assign slot_o = head_q[Index-1:0];
  assign empty_o = head_q == tail_q;
  assign full_o = head_q == {~tail_q[Index], tail};
  assign write_valid_o = done_q[tail] && enable_i;
  assign write_address_o = address_q[tail];
  assign write_data_o = data_q[tail];
  assign popped = write_valid_o && write_grant_i;

  always_comb begin
    done_d = done_q;
    if (popped) done_d[tail] = 1'b0;
    for (int unsigned s = 0; s < SOURCES; s++) if (done_i[s]) done_d[done_slot_i[s]] = 1'b1;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      head_q <= '0;
      tail_q <= '0;
      done_q <= '0;
      retire_o <= 1'b0;
    end else begin
      retire_o <= popped && last_q[tail];
      if (enable_i) begin
        done_q <= done_d;
        if (popped) tail_q <= tail_q + 1'b1;
        if (allocate_i) begin
          head_q <= head_q + 1'b1;
          address_q[slot_o] <= allocate_address_i;
          last_q[slot_o] <= allocate_last_i;
        end
      end
    end
  end

  for (genvar s = 0; s < SOURCES; s++) begin : gen_source
    always_ff @(posedge clk_i) if (enable_i && done_i[s]) data_q[done_slot_i[s]] <= done_data_i[s];
  end

endmodule
