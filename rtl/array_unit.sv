// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
//
// The array unit: `conv` commands, as docs/architecture.md says. Two walkers work on the parameter stream
// (weight_loader) and on the operands (operand_feeder), each with the next command waiting behind its current one. What
// they read flows through the systolic array, the accumulators and the requantiser into memory without ever stopping: a
// vector that has entered is written ROWS + COLUMNS + 4 cycles later, so a tag that travels along with it says all there is
// to know at the other end. Memory that refuses a word only delays what has not yet entered.
//
// Accumulators and records in flight can not collide: a pixel's partial sums of two reduction tiles are at least a
// cycle apart, and an accumulator is read and written in one.
module array_unit
  import systole_pkg::*;
#(
  parameter int unsigned ROWS = 16,
  parameter int unsigned COLUMNS = 16,
  parameter int unsigned ACCUMULATORS = 512,
  parameter int unsigned WEIGHT_PORT_ROWS = 4,
  localparam int unsigned WORD = 8 * COLUMNS,
  localparam int unsigned FEEDER_PORTS = 8,
  localparam int unsigned PORTS = FEEDER_PORTS + WEIGHT_PORT_ROWS
) (
  input  logic            clk_i,
  input  logic            rst_ni,
  input  logic            halt_i,
  input  logic            command_valid_i,
  input  logic [1023:0]   command_i,
  input  logic [31:0]     window_low_i  [4],
  input  logic [31:0]     window_high_i [4],
  output logic            command_ready_o,
  output logic            retire_o,
  output logic            busy_o,
  output logic            stalled_o,
  output logic            error_o,
  output logic [7:0]      error_code_o,
  output logic [31:0]     error_detail_o,
  output logic            read_valid_o   [PORTS],
  output logic [31:0]     read_address_o [PORTS],
  input  logic            read_grant_i   [PORTS],
  input  logic [WORD-1:0] read_data_i    [PORTS],
  output logic            write_valid_o,
  output logic [31:0]     write_address_o,
  output logic [WORD-1:0] write_data_o,
  input  logic            write_grant_i
);

  // A tile stays in the weight buffer while it is read (tile_rows / WEIGHT_PORT_ROWS cycles) and until the wavefront has
  // passed (ROWS + COLUMNS): this many keep the port busy. Records live from their reading to their last word's way out.
  localparam int unsigned SLOTS = 2 * WEIGHT_PORT_ROWS + 2;
  localparam int unsigned RECORDS = 8;
  localparam int unsigned SLOT_BITS = $clog2(SLOTS);
  localparam int unsigned ROW_BITS = $clog2(ROWS);
  localparam int unsigned RECORD_BITS = $clog2(RECORDS);
  localparam int unsigned TAG = 52 + RECORD_BITS;         // see operand_feeder

  logic hold, error_q;
  logic [31:0] error_detail_q;
  assign hold = halt_i || error_q;

  // ---- Commands. A nop waits until the unit is empty.
  window_command_t command;
  logic feeder_ready, loader_ready, accept, accept_nop;
  logic [15:0] inside_q;
  logic retire_q;
  assign command = window_command_t'(command_i);
  assign accept_nop = command.opcode == OPCODE_NOP;
  assign command_ready_o = accept_nop ? inside_q == 16'd0 : feeder_ready && loader_ready && !hold;
  assign accept = command_valid_i && command_ready_o && !hold && !accept_nop;
  assign busy_o = inside_q != 16'd0;
  assign retire_o = retire_q;

  // ---- Reading.
  logic loader_valid [WEIGHT_PORT_ROWS];
  logic [31:0] loader_address [WEIGHT_PORT_ROWS];
  logic loader_grant [WEIGHT_PORT_ROWS];
  logic [WORD-1:0] loader_word [WEIGHT_PORT_ROWS];
  logic feeder_valid [FEEDER_PORTS];
  logic [31:0] feeder_address [FEEDER_PORTS];
  logic feeder_grant [FEEDER_PORTS];
  always_comb begin
    for (int unsigned p = 0; p < FEEDER_PORTS; p++) begin
      read_valid_o[p] = feeder_valid[p];
      read_address_o[p] = feeder_address[p];
    end
    for (int unsigned w = 0; w < WEIGHT_PORT_ROWS; w++) begin
      read_valid_o[FEEDER_PORTS+w] = loader_valid[w];
      read_address_o[FEEDER_PORTS+w] = loader_address[w];
    end
  end
  always_comb begin
    for (int unsigned p = 0; p < FEEDER_PORTS; p++) feeder_grant[p] = read_grant_i[p];
    for (int unsigned w = 0; w < WEIGHT_PORT_ROWS; w++) loader_grant[w] = read_grant_i[FEEDER_PORTS+w];
  end
  always_comb begin
    for (int unsigned w = 0; w < WEIGHT_PORT_ROWS; w++) loader_word[w] = read_data_i[FEEDER_PORTS+w];
  end

  logic [WEIGHT_PORT_ROWS-1:0] fill_valid, record_valid;
  logic [SLOT_BITS-1:0] fill_slot, launch_slot;
  logic [ROW_BITS-1:0] fill_row;
  logic fill_unsigned, launch, launch_set;
  logic signed [8:0] fill_zero_point;
  logic [ROW_BITS:0] launch_rows;
  logic [RECORD_BITS-1:0] record;
  logic [3:0] record_index;
  logic [26:0] record_common;
  logic record_done;
  logic [7:0] launched, streamed;
  logic [SLOTS-1:0] slot_done;
  logic loader_refused, feeder_refused, loader_error, feeder_error;
  logic [31:0] loader_error_address, feeder_error_address;

  weight_loader #(
    .ROWS(ROWS), .WEIGHT_PORT_ROWS(WEIGHT_PORT_ROWS), .SLOTS(SLOTS), .RECORDS(RECORDS)
  ) i_weight_loader (
    .clk_i, .rst_ni, .hold_i(hold),
    .command_valid_i(accept), .command_i(command), .window_low_i(window_low_i[3]), .window_high_i(window_high_i[3]),
    .command_ready_o(loader_ready),
    .read_valid_o(loader_valid), .read_address_o(loader_address), .read_grant_i(loader_grant),
    .refused_o(loader_refused),
    .fill_valid_o(fill_valid), .fill_slot_o(fill_slot), .fill_row_o(fill_row), .fill_unsigned_o(fill_unsigned),
    .fill_zero_point_o(fill_zero_point),
    .record_valid_o(record_valid), .record_o(record), .record_index_o(record_index),
    .record_common_o(record_common), .record_done_i(record_done),
    .launch_o(launch), .launch_slot_o(launch_slot), .launch_set_o(launch_set), .launch_rows_o(launch_rows),
    .launched_o(launched), .streamed_i(streamed), .slot_done_i(slot_done),
    .error_o(loader_error), .error_address_o(loader_error_address)
  );

  logic operand_valid, operand_set, operand_unsigned;
  logic [8*ROWS-1:0] operand_word;
  logic [ROWS-1:0] operand_mask;
  logic signed [8:0] operand_zero_point;
  logic [TAG-1:0] operand_tag;

  operand_feeder #(.ROWS(ROWS), .COLUMNS(COLUMNS), .PORTS(PORTS), .RECORDS(RECORDS)) i_operand_feeder (
    .clk_i, .rst_ni, .hold_i(hold),
    .command_valid_i(accept), .command_i(command), .input_low_i(window_low_i[0]), .input_high_i(window_high_i[0]),
    .output_low_i(window_low_i[2]), .output_high_i(window_high_i[2]), .command_ready_o(feeder_ready),
    .read_valid_o(feeder_valid), .read_address_o(feeder_address), .read_grant_i(feeder_grant),
    .read_data_i(read_data_i), .refused_o(feeder_refused),
    .launched_i(launched), .streamed_o(streamed),
    .valid_o(operand_valid), .set_o(operand_set), .word_o(operand_word), .mask_o(operand_mask),
    .unsigned_o(operand_unsigned), .zero_point_o(operand_zero_point), .tag_o(operand_tag),
    .error_o(feeder_error), .error_address_o(feeder_error_address)
  );

  // ---- Computing.
  logic sum_valid;
  int sum [COLUMNS];
  logic [TAG-1:0] sum_tag;

  systolic_array #(
    .ROWS(ROWS), .COLUMNS(COLUMNS), .WEIGHT_PORT_ROWS(WEIGHT_PORT_ROWS), .SLOTS(SLOTS), .TAG(TAG)
  ) i_systolic_array (
    .clk_i, .rst_ni, .hold_i(hold),
    .fill_valid_i(fill_valid), .fill_word_i(loader_word), .fill_slot_i(fill_slot), .fill_row_i(fill_row),
    .fill_unsigned_i(fill_unsigned), .fill_zero_point_i(fill_zero_point),
    .launch_i(launch), .launch_slot_i(launch_slot), .launch_set_i(launch_set), .launch_rows_i(launch_rows),
    .slot_done_o(slot_done),
    .valid_i(operand_valid), .set_i(operand_set), .word_i(operand_word), .mask_i(operand_mask),
    .unsigned_i(operand_unsigned), .zero_point_i(operand_zero_point), .tag_i(operand_tag),
    .valid_o(sum_valid), .sum_o(sum), .tag_o(sum_tag)
  );

  logic value_valid;
  int value [COLUMNS];
  int multiplier [COLUMNS];
  int shift [COLUMNS];
  logic [26:0] common;
  logic [32:0] value_tag_q;

  accumulator_bank #(
    .COLUMNS(COLUMNS), .ACCUMULATORS(ACCUMULATORS), .WEIGHT_PORT_ROWS(WEIGHT_PORT_ROWS), .RECORDS(RECORDS)
  ) i_accumulator_bank (
    .clk_i, .rst_ni, .hold_i(hold),
    .record_valid_i(record_valid), .record_word_i(loader_word), .record_i(record),
    .record_index_i(record_index), .record_common_i(record_common),
    .valid_i(sum_valid), .first_i(sum_tag[TAG-4]), .last_i(sum_tag[TAG-3]), .index_i(sum_tag[47:32]),
    .sum_record_i(sum_tag[48+:RECORD_BITS]), .sum_i(sum),
    .valid_o(value_valid), .value_o(value), .multiplier_o(multiplier), .shift_o(shift), .common_o(common)
  );
  assign record_done = sum_valid && sum_tag[TAG-2] && !hold;

  always_ff @(posedge clk_i) begin
    if (!hold && sum_valid) value_tag_q <= {sum_tag[TAG-1], sum_tag[31:0]};
  end

  // ---- Writing.
  logic write_valid, write_last, requantiser_busy;
  requantiser #(.LANES(COLUMNS), .TAG(33)) i_requantiser (
    .clk_i, .rst_ni, .hold_i(hold),
    .valid_i(value_valid), .value_i(value), .multiplier_i(multiplier), .shift_i(shift),
    .zero_point_i(signed'(common[26:18])), .clamp_min_i(signed'(common[17:9])), .clamp_max_i(signed'(common[8:0])),
    .tag_i(value_tag_q),
    .valid_o(write_valid), .bytes_o(write_data_o), .tag_o({write_last, write_address_o}), .busy_o(requantiser_busy)
  );
  assign write_valid_o = write_valid && !hold;

  // ---- Retirement, errors, counters.
  logic refused_q;
  assign error_o = error_q;
  assign error_code_o = error_q ? ERROR_REGION : ERROR_NONE;
  assign error_detail_o = error_detail_q;
  assign stalled_o = busy_o && refused_q && !operand_valid && !requantiser_busy;

  logic accept_any;
  assign accept_any = command_valid_i && command_ready_o && !hold;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      error_q <= 1'b0;
      retire_q <= 1'b0;
      inside_q <= 16'd0;
      refused_q <= 1'b0;
    end else if (!hold) begin
      retire_q <= (write_valid && write_last && write_grant_i) || (accept_any && accept_nop);
      inside_q <= inside_q + 16'(accept_any) - 16'(retire_q);
      refused_q <= loader_refused || feeder_refused;
      if (loader_error || feeder_error) begin
        error_q <= 1'b1;
        error_detail_q <= feeder_error ? feeder_error_address : loader_error_address;
      end
    end
  end

`ifdef VERILATOR
  // The scratchpad serves this unit's writes first.
  always_ff @(posedge clk_i) begin
    if (rst_ni && write_valid_o) assert (write_grant_i);
  end
`endif

endmodule
